//! What can be measured, a file each.

pub mod latency;
pub mod load;
