//! A page of examples.
