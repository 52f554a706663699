//! The daemon's memory where the machine is not well: a clock that was ahead.

mod clock_ahead;
