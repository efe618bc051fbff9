//! Laws of delivery.

mod rules;
