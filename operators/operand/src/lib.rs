//! The management protocol between the operator and the data planes.
