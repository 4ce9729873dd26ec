//! Bulk-only transport and SCSI against a modelled stick, an honest one and such that lie.

mod honest;
mod liars;
mod model;
