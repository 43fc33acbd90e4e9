//! The shared vocabulary: Ray's objects, quantities, images and start parameters as we read them. Pure.
