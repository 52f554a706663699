//! Which file of the source uses which: each path in it followed, through imports and through what
//! rooms hand on, to the file that defines what the path names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Macro, Meta, UseTree};

/// For each file the files that it uses, and of each of those one thing that it uses.
pub(crate) type Uses = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

/// A path of names, from the crate's root where it is followed.
type Names = Vec<String>;

/// `use crate::a::{b, c as d}` is two of them.
struct Import {
    /// Handed on to whoever asks this module for it.
    is_public: bool,
    /// What it is called here; `*`: all that is there.
    name: String,
    path: Names,
}

/// One file.
#[derive(Default)]
struct Module {
    file: PathBuf,
    imports: Vec<Import>,
    /// The modules that it declares.
    children: BTreeSet<String>,
    /// The paths in its code, imports left out; those in macros and attributes too.
    paths: BTreeSet<Names>,
}

/// The files that use each other in a circle, each circle once.
pub(crate) fn circles(uses: &Uses) -> Vec<Vec<&Path>> {
    let reached: BTreeMap<&Path, BTreeSet<&Path>> =
        uses.keys().map(|file| (file.as_path(), reached(uses, file))).collect();
    let mut circles = BTreeSet::new();
    for (file, from_here) in &reached {
        let circle: Vec<&Path> = from_here
            .iter()
            .copied()
            .filter(|other| reached.get(other).is_some_and(|r| r.contains(file)))
            .collect();
        if circle.contains(file) {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// What a file uses, and what that uses, and so on.
fn reached<'u>(uses: &'u Uses, file: &Path) -> BTreeSet<&'u Path> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![file.to_owned()]);
    while let Some(file) = next.pop() {
        for used in uses.get(&file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(used.as_path()) {
                next.push(used.clone());
            }
        }
    }
    reached
}

/// Of all files: the path below `src`, and the text.
pub(crate) fn uses<'s>(sources: impl Iterator<Item = (&'s Path, &'s str)>) -> Uses {
    let modules: BTreeMap<Names, Module> =
        sources.map(|(file, text)| (names_of(file), Module::read(file, text))).collect();
    let mut all = Uses::new();
    for (own, module) in modules.iter().filter(|(own, _)| !own.is_empty()) {
        let mut used = BTreeMap::new();
        let mut add = |path: &Names| {
            if let Some(file) = defined_in(&modules, path, &mut BTreeSet::new())
                && file != module.file
            {
                used.entry(file.to_owned()).or_insert_with(|| path.join("::"));
            }
        };
        for import in &module.imports {
            let is_used = module.paths.iter().any(|path| path[0] == import.name);
            if (is_used || !import.is_public)
                && let Some(mut path) = module.followed(own, &import.path)
            {
                // Of all that is there, something is used.
                path.extend((import.name == "*").then(|| "*".to_owned()));
                add(&path);
            }
        }
        for path in &module.paths {
            let imported = || module.imports.iter().find(|import| import.name == path[0]);
            let path = module.followed(own, path).or_else(|| {
                let start = module.followed(own, &imported()?.path)?;
                Some([&start, &path[1..]].concat())
            });
            path.iter().for_each(&mut add);
        }
        all.insert(module.file.clone(), used);
    }
    all
}

/// `["jobs", "backup"]` for `jobs/backup/mod.rs`; nothing for the crate's root.
fn names_of(file: &Path) -> Names {
    let path = file.with_extension("");
    let mut names: Names = path.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if ["mod", "lib"].contains(&names.last().unwrap().as_str()) {
        names.pop();
    }
    names
}

/// The file that defines what `path` names, from the crate's root; `None` for a module as a whole,
/// and where it is none of ours.
fn defined_in<'m>(
    modules: &'m BTreeMap<Names, Module>,
    path: &[String],
    seen: &mut BTreeSet<Names>,
) -> Option<&'m Path> {
    if !seen.insert(path.to_vec()) {
        return None;
    }
    let length = (1..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
    let (own, rest) = path.split_at(length);
    let (module, name) = (&modules[own], rest.first()?);
    if let Some(import) = module.imports.iter().find(|import| import.name == *name && name != "*") {
        let start = module.followed(own, &import.path)?;
        return defined_in(modules, &[&start, &rest[1..]].concat(), seen);
    }
    for import in module.imports.iter().filter(|import| import.name == "*") {
        let start = module.followed(own, &import.path);
        let from = start.and_then(|start| defined_in(modules, &[&start[..], rest].concat(), seen));
        if from.is_some_and(|from| from != module.file) {
            return from;
        }
    }
    Some(&module.file)
}

impl Module {
    fn read(file: &Path, text: &str) -> Self {
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut module = Self { file: file.to_owned(), ..Self::default() };
        for item in &parsed.items {
            match item {
                Item::Mod(inner) if is_test(&inner.attrs) => {}
                Item::Mod(inner) if inner.content.is_none() => {
                    module.children.insert(inner.ident.to_string());
                }
                Item::Use(import) => {
                    let is_public = !matches!(import.vis, syn::Visibility::Inherited);
                    module.import(is_public, Names::new(), &import.tree);
                }
                item => module.visit_item(item),
            }
        }
        module
    }

    fn import(&mut self, is_public: bool, mut path: Names, tree: &UseTree) {
        let name = match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                return self.import(is_public, path, &part.tree);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(is_public, path.clone(), tree));
            }
            UseTree::Name(name) if name.ident == "self" => path.last().unwrap().clone(),
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                name.ident.to_string()
            }
            UseTree::Rename(renamed) => {
                if renamed.ident != "self" {
                    path.push(renamed.ident.to_string());
                }
                renamed.rename.to_string()
            }
            UseTree::Glob(_) => "*".to_owned(),
        };
        self.imports.push(Import { is_public, name, path });
    }

    /// A path in this module from the crate's root; `None` for one that begins with what is
    /// imported, or is nobody's here.
    fn followed(&self, own: &[String], path: &[String]) -> Option<Names> {
        let upwards = path.iter().take_while(|name| ["self", "super"].contains(&name.as_str())).count();
        match path[0].as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" | "super" => {
                let above = path.iter().take(upwards).filter(|name| *name == "super").count();
                Some([&own[..own.len().checked_sub(above)?], &path[upwards..]].concat())
            }
            child if self.children.contains(child) => Some([own, path].concat()),
            _ => None,
        }
    }

    /// The paths in tokens that nobody has parsed.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path = Names::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) if colons == 2 => path.push(name.to_string()),
                TokenTree::Ident(name) => {
                    self.found(std::mem::replace(&mut path, vec![name.to_string()]));
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.found(std::mem::take(&mut path));
                    self.scan(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.found(std::mem::take(&mut path)),
            }
            colons = 0;
        }
        self.found(path);
    }

    fn found(&mut self, path: Names) {
        if !path.is_empty() {
            self.paths.insert(path);
        }
    }
}

impl<'t> Visit<'t> for Module {
    fn visit_path(&mut self, path: &'t syn::Path) {
        self.found(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'t Macro) {
        self.scan(called.tokens.clone());
        visit::visit_macro(self, called);
    }

    fn visit_attribute(&mut self, attribute: &'t Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        matches!(&attribute.meta, Meta::List(list) if list.path.is_ident("cfg") && list.tokens.to_string() == "test")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles_in(sources: &[(&str, &str)]) -> Vec<String> {
        let uses = uses(sources.iter().map(|(file, text)| (Path::new(*file), *text)));
        let shown = |circle: Vec<&Path>| {
            circle.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        circles(&uses).into_iter().map(shown).collect()
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        let lib = ("lib.rs", "mod a; mod b;");
        let a = ("a.rs", "use crate::b::B; pub struct A(B);");
        for b in [
            "use super::a::A; pub struct B(A);",
            "pub struct B(crate::a::A);",
            "use crate::a; pub struct B(a::A);",
            "use crate::{a::{self as other}}; pub struct B(other::A);",
            "use crate::a::*; pub struct B(A);",
            "pub struct B; html! { (crate::a::A(1)) }",
            "#[arg(default = crate::a::A)] pub struct B;",
        ] {
            assert_eq!(circles_in(&[lib, a, ("b.rs", b)]), ["a.rs b.rs"], "{b}");
        }
    }

    #[test]
    fn what_is_only_named_handed_on_or_tested_makes_none() {
        let lib = ("lib.rs", "mod a;");
        let inner = ("a/b.rs", "use super::c::C; pub struct B(C);");
        let other = ("a/c.rs", "pub struct C;");
        for room in [
            "mod b; mod c; pub use b::B; pub use self::c::C;",
            "mod b; mod c; pub use b::B; pub struct A;",
            "mod b; mod c; #[cfg(test)] mod tests { use super::b::B; struct T(B, super::A); } pub struct A;",
        ] {
            assert_eq!(circles_in(&[lib, ("a/mod.rs", room), inner, other]), [] as [&str; 0], "{room}");
        }
        let inner = ("a/b.rs", "use super::{A, C}; pub struct B(A, C);");
        let used = "mod b; mod c; pub use b::B; pub use self::c::C; pub struct A; pub struct Both(B);";
        assert_eq!(circles_in(&[lib, ("a/mod.rs", used), inner, other]), ["a/b.rs a/mod.rs"]);
        let handed_on = "mod b; mod c; pub use b::B; pub use self::c::C; pub struct A;";
        assert_eq!(circles_in(&[lib, ("a/mod.rs", handed_on), inner, other]), [] as [&str; 0]);
    }
}
