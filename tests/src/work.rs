//! What the parts of an answer cost by themselves, as multiples of reading the same JSON.
