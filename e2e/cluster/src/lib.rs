//! A real Kubernetes control plane for tests, built from packages.
