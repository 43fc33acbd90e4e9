//! Answers of servers, and what comes of them.
