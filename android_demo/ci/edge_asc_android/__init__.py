"""The Android demo's assets and golden vectors, and a build without Gradle that verifies its sources."""
