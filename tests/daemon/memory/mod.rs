//! The daemon's memory where the machine is not well: a clock that was ahead, a disk that is full,
//! a file that is gone or damaged; and how large it gets.

mod aside;
mod clock_ahead;
mod out_of_reach;
mod size;
