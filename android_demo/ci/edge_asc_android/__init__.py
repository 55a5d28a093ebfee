"""What Python makes of the Android demo: assets, golden vectors, and a build without Gradle that proves the sources."""
