//! The neighbour table as the router sees it: clauses of the RFCs, bounds under attack, conservation and order.

mod bounds;
mod clauses;
mod conservation;
mod support;
