//! CA and serving certificates, their rotation and publication.
