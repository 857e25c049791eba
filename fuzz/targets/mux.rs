//! libFuzzer's entry for [`heteronym_fuzz::mux`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heteronym_fuzz::mux::run(data));
