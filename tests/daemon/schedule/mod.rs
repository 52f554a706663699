//! When jobs run.

mod admission;
mod blackout;
mod calendar;
mod catch_up;
mod fixtures;
mod jitter;
mod ticks;
mod timetable;
mod wall_clock;
mod zone_rules;
