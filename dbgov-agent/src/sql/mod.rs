//! Statement text to facts: what a statement does, on what. Pure.
#![forbid(unsafe_code)]
