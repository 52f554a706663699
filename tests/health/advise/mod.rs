//! Advice: the right index or none, each one proved on rows: created where there are many, and
//! counted in the instructions that its query takes before and after.

mod command;
mod corpus;
mod fixture;
mod health;
mod indexes;
mod schemas;
mod texts;
