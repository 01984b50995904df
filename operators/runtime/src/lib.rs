//! The one reconcile pipeline that every kind goes through.
