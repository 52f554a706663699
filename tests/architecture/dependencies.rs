//! What the program depends on: its Rust, its licences, where it comes from.

use std::path::Path;

use crate::documents::document;

/// What cargo knows of the program and all of its dependencies on Linux.
fn packages() -> Vec<serde_json::Value> {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    packages.clone()
}

fn is_ours(package: &serde_json::Value) -> bool {
    package["name"] == "litekeeper"
}

/// Cargo refuses an older compiler with that version's name, in place of an error in the middle of
/// a build.
#[test]
fn the_rust_that_is_asked_for_is_the_highest_that_a_dependency_asks_for() {
    let packages = packages();
    let version = |package: &serde_json::Value| -> Option<(u32, u32)> {
        let mut parts = package["rust_version"].as_str()?.split('.').map(|part| part.parse().unwrap());
        Some((parts.next()?, parts.next().unwrap_or(0)))
    };
    let ours = packages.iter().find(|package| is_ours(package)).and_then(version);
    let highest = packages.iter().filter(|package| !is_ours(package)).filter_map(version).max();
    assert_eq!(ours, highest, "rust-version, and the highest among the dependencies");
    let (major, minor) = ours.unwrap();
    let words = format!("{major}.{minor} or later");
    for page in ["README.md", "docs/installation.md", "docs/CONTRIBUTING.md"] {
        assert!(document(page).contains(&words), "{page} does not say Rust {words}");
    }
}

/// `tests/run licences` asks cargo-deny, where it is installed; this much is held everywhere.
#[test]
fn dependencies_have_the_licences_of_deny_toml_and_come_from_crates_io() {
    let deny: toml::Table = document("deny.toml").parse().unwrap();
    let allowed: Vec<&str> =
        deny["licenses"]["allow"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    for package in packages().iter().filter(|package| !is_ours(package)) {
        let name = &package["name"];
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name} names no licence"));
        assert!(is_allowed(licence, &allowed), "{name}: {licence}");
        let source = package["source"].as_str().unwrap_or_default();
        assert_eq!(source, "registry+https://github.com/rust-lang/crates.io-index", "{name}");
    }
    for (licence, is) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("MIT/GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
    ] {
        assert_eq!(is_allowed(licence, &allowed), is, "{licence}");
    }
}

/// Of an SPDX expression as crates have it: alternatives, perhaps in parentheses, of which all must
/// hold.
fn is_allowed(licence: &str, allowed: &[&str]) -> bool {
    licence.split(" AND ").all(|part| {
        let alternatives = part.trim_matches(['(', ')']).replace('/', " OR ");
        alternatives.split(" OR ").any(|one| allowed.contains(&one.trim()))
    })
}
