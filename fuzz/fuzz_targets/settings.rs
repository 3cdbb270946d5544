//! Any text as a settings file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(settings) = larder_fuzz::config::load_from(Some(larder_fuzz::file(data).path()), []) {
        settings.validate().expect("what was accepted is allowed");
    }
});
