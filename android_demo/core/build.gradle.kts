plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    jvmToolchain(17)
    compilerOptions { allWarningsAsErrors = true }
}

dependencies {
    // Android has it.
    compileOnly(libs.json)
    testImplementation(libs.json)
    testImplementation(libs.junit)
}
