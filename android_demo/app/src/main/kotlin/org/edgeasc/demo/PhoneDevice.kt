package org.edgeasc.demo

import android.content.Context
import android.os.Build
import android.os.PowerManager
import org.edgeasc.core.Device
import org.json.JSONArray
import org.json.JSONObject

/** The phone, described by Android and by Linux. */
class PhoneDevice(context: Context) : Device() {
    private val power = context.getSystemService(PowerManager::class.java)

    override fun machine(): JSONObject {
        val soc = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}" else Build.HARDWARE
        val emulated = Build.HARDWARE in EMULATORS
        return super.machine()
            .put("cpu", soc)
            .put("board", "${Build.MANUFACTURER} ${Build.MODEL}")
            .put("system", "Android ${Build.VERSION.RELEASE} (API ${Build.VERSION.SDK_INT})")
            .put("emulated", if (emulated) "the Android emulator" else JSONObject.NULL)
    }

    override fun conditions(): JSONObject {
        val conditions = super.conditions()
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q && power != null) {
            val status = power.currentThermalStatus
            val names = if (status == 0) emptyList() else listOf("thermal status ${THERMAL.getOrElse(status) { "$status" }}")
            conditions.put("thermal_status", status).put("throttling", JSONArray(names))
        }
        return conditions
    }

    private companion object {
        val EMULATORS = setOf("ranchu", "goldfish")

        // Of PowerManager.THERMAL_STATUS_NONE and so on.
        val THERMAL = listOf("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
    }
}
