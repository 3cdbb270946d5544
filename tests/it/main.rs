//! What Larder promises, tested from outside: one module per behaviour.

mod coherence;
mod desk;
mod requests;
