//! What `strace -f -y` has written, read by descriptors: which calls opened and closed a file.

use std::collections::HashMap;
use std::path::Path;

/// The calls that opened a file, and how many closed it; without descriptors that are only there to
/// look at a file (O_PATH), whose closing ends no lock.
pub fn opened_and_closed(trace: &str, file: &Path) -> (Vec<String>, usize) {
    let path = format!("<{}>", file.display());
    let (mut opens, mut closes, mut looks) = (Vec::new(), 0, Vec::new());
    let number = |text: &str| text.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap().to_owned();
    for line in whole(trace) {
        if let Some((call, result)) = line.rsplit_once(" = ")
            && call.contains("open")
            && let Some(descriptor) = result.trim_end().strip_suffix(&path)
        {
            if call.contains("O_PATH") {
                looks.push(number(descriptor));
            } else {
                opens.push(line);
            }
        } else if let Some((before, _)) = line.split_once(&path)
            && before.contains("close(")
        {
            match looks.iter().position(|look| *look == number(before)) {
                Some(at) => drop(looks.swap_remove(at)),
                None => closes += 1,
            }
        }
    }
    (opens, closes)
}

/// The lines, those put together of which the second half came later.
pub fn whole(trace: &str) -> Vec<String> {
    let (mut lines, mut begun) = (Vec::new(), HashMap::new());
    for line in trace.lines() {
        let thread = line.split(' ').next().unwrap_or_default();
        if let Some(half) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, half);
        } else if let Some((_, rest)) = line.split_once(" resumed>") {
            lines.push(format!("{}{rest}", begun.remove(thread).unwrap_or_default()));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}
