#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| push_fuzz::targets::portal::run(data));
