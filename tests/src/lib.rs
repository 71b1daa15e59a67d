//! Scenarios across jobs, and whether what is shipped beside the code is true: see `tests/`.
