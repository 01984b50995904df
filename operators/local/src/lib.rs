//! Carries built resources out as processes on one machine.
