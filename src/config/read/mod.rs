//! From the text of the file to a configuration: tables with places, values, defaults, what is
//! wrong with it. Never opens a database.

mod defaults;
mod file;
mod lists;
pub(super) mod load;
mod place;
mod resolve;
mod same_file;
mod tables;
mod validate;
mod value;
mod wrong;
mod zone;
