//! Servers of buckets on loopback, each a real one, and what may stand before them. Only for tests
//! that use the feature `object-storage`: whoever includes this says so.

#![allow(dead_code, reason = "each test uses a part")]

pub mod azure;
pub mod gateway;
pub mod s3;
