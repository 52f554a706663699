//! Reads whatever it gets as a database, all of it: every page, cell, chain and record, and the
//! list of free pages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use litekeeper_fuzz::Held;
use litekeeper_fuzz::sqlite::pages::{Database, Fields, Freelist, payload};

fuzz_target!(|bytes: &[u8]| {
    let held = Held(bytes);
    let Some(database) = Database::open(&held) else { return };
    let free = Freelist::read(&database);
    assert!(free.pages.len() <= database.count as usize);
    for number in 1..=database.count {
        let _ = (database.pointer(number), database.is_reserved(number));
        let Some(page) = database.tree_page(number) else { continue };
        for at in 0..page.len() {
            let _ = page.cell_by_record(at);
            let Some(cell) = page.cell(at) else { continue };
            let record = payload(&database, &page, &cell);
            assert!(record.bytes.len() <= bytes.len() + 2 * 65_536);
            if let Some(fields) = Fields::read(&record.bytes) {
                let _ = fields.values(&record.bytes, database.layout.encoding);
            }
        }
    }
});
