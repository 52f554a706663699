//! What users and groups are called here. Of the two files alone: a directory service may hang, and
//! a user who is known only there is called by his number.

use std::fs;

/// The name of a user; the number where it has none here.
pub fn user(uid: u32) -> String {
    entry("/etc/passwd", |fields| fields.get(2) == Some(&uid.to_string().as_str()))
        .unwrap_or_else(|| uid.to_string())
}

/// The name of the user with whose rights this process works.
pub fn us() -> String {
    user(rustix::process::geteuid().as_raw())
}

/// The number of a user by his name, or by his number.
pub fn user_id(name: &str) -> Option<u32> {
    let known = fields("/etc/passwd", |fields| fields.first() == Some(&name));
    known.and_then(|fields| fields.get(2)?.parse().ok()).or_else(|| name.parse().ok())
}

/// The name of a group; the number where it has none here.
pub fn group(gid: u32) -> String {
    entry("/etc/group", |fields| fields.get(2) == Some(&gid.to_string().as_str()))
        .unwrap_or_else(|| gid.to_string())
}

/// Whether there is a group of this name.
pub fn is_group(name: &str) -> bool {
    entry("/etc/group", |fields| fields.first() == Some(&name)).is_some()
}

/// Who might be in a group.
#[derive(Debug, Clone, Copy)]
pub enum Member {
    /// A user, as the two files tell of him.
    User(u32),
    /// This process.
    Us,
}

impl Member {
    /// Whether he has the rights of the group.
    pub fn is_in(self, gid: u32) -> bool {
        match self {
            Self::Us => {
                rustix::process::getegid().as_raw() == gid
                    || rustix::process::getgroups().is_ok_and(|all| all.iter().any(|one| one.as_raw() == gid))
            }
            Self::User(0) => true,
            Self::User(uid) => {
                let name = user(uid);
                let (uid, gid) = (uid.to_string(), gid.to_string());
                let own = |fields: &[&str]| {
                    fields.get(2) == Some(&uid.as_str()) && fields.get(3) == Some(&gid.as_str())
                };
                let listed = |fields: &[&str]| {
                    fields.get(2) == Some(&gid.as_str())
                        && fields.get(3).is_some_and(|all| all.split(',').any(|one| one == name))
                };
                entry("/etc/passwd", own).is_some() || entry("/etc/group", listed).is_some()
            }
        }
    }
}

/// The name of the first entry of passwd(5) or group(5) that is wanted.
fn entry(file: &str, is_wanted: impl Fn(&[&str]) -> bool) -> Option<String> {
    fields(file, is_wanted)?.into_iter().next()
}

fn fields(file: &str, is_wanted: impl Fn(&[&str]) -> bool) -> Option<Vec<String>> {
    let text = fs::read_to_string(file).ok()?;
    let found = text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|line| is_wanted(line))?;
    Some(found.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_have_names_and_who_has_none_is_a_number() {
        assert_eq!((user(0), group(0)), ("root".to_owned(), "root".to_owned()));
        assert_eq!((user(4_000_000), group(4_000_000)), ("4000000".to_owned(), "4000000".to_owned()));
        assert_eq!(
            (user_id("root"), user_id("4711"), user_id("nobody knows him")),
            (Some(0), Some(4711), None)
        );
        assert!(is_group("root") && !is_group("nobody knows it"));
    }

    #[test]
    fn a_user_is_in_his_own_group() {
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let nobody: Vec<&str> =
            passwd.lines().find(|l| l.starts_with("nobody:")).unwrap().split(':').collect();
        let (uid, gid) = (nobody[2].parse().unwrap(), nobody[3].parse().unwrap());
        assert!(Member::User(uid).is_in(gid) && !Member::User(uid).is_in(4_000_000));
        assert!(Member::Us.is_in(rustix::process::getegid().as_raw()) && !Member::Us.is_in(4_000_000));
    }
}
