//! The zone in which schedules are read: `"UTC"`, an IANA name, or `"local"`, which is looked up
//! once when the configuration is read. Never guesses an offset: a fixed one is wrong after the
//! next DST change.

use super::file::Table;
use super::value;
use super::wrong::Mistake;
use crate::zone::Zone;

/// What the key `timezone` may say.
pub(super) enum Named {
    /// The machine's.
    Local,
    /// This one.
    Zone(Zone),
}

/// Reads the key `timezone`; `None` where it is left out or wrong.
pub(in crate::config) fn read(table: &mut Table<'_>) -> Option<Named> {
    let read = |value: &_| {
        let name = value::text(value)?;
        if name == "local" {
            return Ok(Named::Local);
        }
        name.parse().map(Named::Zone).map_err(|_| {
            Mistake::new(format!("must be \"UTC\", \"local\" or an IANA name, not {name:?}"))
                .help(nearest(&name))
        })
    };
    table.get("timezone", read)
}

fn nearest(name: &str) -> String {
    let wanted = name.replace(' ', "_").to_lowercase();
    let distance = |name: &String| strsim::damerau_levenshtein(&wanted, &name.to_lowercase());
    match Zone::names().min_by_key(distance) {
        Some(name) if distance(&name) <= 2 => format!("did you mean \"{name}\"?"),
        _ => "for example \"Europe/Berlin\"; `timedatectl list-timezones` lists the names".to_owned(),
    }
}

/// The machine's zone from `$TZ`, or from its files, and what to warn of where neither names one.
pub(super) fn local() -> (Zone, Option<String>) {
    let variable = std::env::var_os("TZ").map(|tz| tz.to_string_lossy().into_owned());
    choose(variable.as_deref(), || iana_time_zone::get_timezone().ok())
}

fn choose(variable: Option<&str>, machine: impl FnOnce() -> Option<String>) -> (Zone, Option<String>) {
    // tzset(3): a colon may stand in front, and an empty variable is UTC.
    let variable = variable.map(|name| name.strip_prefix(':').unwrap_or(name));
    if variable == Some("") {
        return (Zone::UTC, None);
    }
    if let Some(Ok(zone)) = variable.map(str::parse) {
        return (zone, None);
    }
    let machine = machine();
    if let Some(Ok(zone)) = machine.as_deref().map(str::parse) {
        return (zone, None);
    }
    let named = match (variable, machine) {
        (Some(name), _) => format!("TZ={name:?} is not an IANA name"),
        (None, Some(name)) => format!("the machine's zone {name:?} is not an IANA name"),
        (None, None) => "neither TZ nor /etc/localtime names a zone".to_owned(),
    };
    (Zone::UTC, Some(format!("daemon.timezone is \"local\", but {named}: schedules are read in UTC")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_goes_before_the_machine() {
        let (berlin, tokyo) =
            (|| Zone::named("Europe/Berlin").unwrap(), || Zone::named("Asia/Tokyo").unwrap());
        let machine = || Some("Asia/Tokyo".to_owned());
        assert_eq!(choose(Some("Europe/Berlin"), machine), (berlin(), None));
        assert_eq!(choose(Some(":Europe/Berlin"), machine), (berlin(), None));
        assert_eq!(choose(Some("CET-1CEST,M3.5.0,M10.5.0/3"), machine), (tokyo(), None));
        assert_eq!(choose(None, machine), (tokyo(), None));
        assert_eq!(choose(Some(""), machine), (Zone::UTC, None));
    }

    #[test]
    fn a_zone_that_cannot_be_found_is_utc_with_a_warning() {
        let (zone, warning) = choose(None, || None);
        assert_eq!(zone, Zone::UTC);
        assert!(warning.unwrap().contains("schedules are read in UTC"));
        let (zone, warning) = choose(Some("Mars/Base"), || None);
        assert_eq!(zone, Zone::UTC);
        assert!(warning.unwrap().contains("TZ=\"Mars/Base\" is not an IANA name"));
    }
}
