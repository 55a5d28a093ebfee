plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "org.edgeasc.demo"
    compileSdk = 36

    defaultConfig {
        applicationId = "org.edgeasc.demo"
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
        ndk { abiFilters += listOf("arm64-v8a", "armeabi-v7a", "x86_64") }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    androidResources { noCompress += listOf("onnx", "tflite") }

    // Written by `make android-assets` in the checkout.
    sourceSets["main"].assets.directories.add("../../build/android/assets")
}

dependencies {
    implementation(project(":core"))
    implementation(project(":ort"))
    implementation(libs.onnxruntime.android)
    implementation(libs.litert)
}
