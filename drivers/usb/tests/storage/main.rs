//! Bulk-only transport and SCSI against a modelled stick, an honest one and such that lie, alone and at a modelled controller.

mod controller;
mod engine;
mod honest;
mod liars;
mod model;
mod xhci;
