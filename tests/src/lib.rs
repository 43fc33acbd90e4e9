//! End-to-end and house-rule tests.
