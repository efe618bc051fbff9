//! Laws of delivery. The simulation is in `tests/delivery_simulation.rs`, since it needs nothing
//! that users of the crate have not.

mod bytes;
mod model;
mod rules;
