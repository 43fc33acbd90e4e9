//! Demand in, plan and reasons out. Pure.
