//! Every admission rule and default. Pure.
