//! Tests of `indicator`.
