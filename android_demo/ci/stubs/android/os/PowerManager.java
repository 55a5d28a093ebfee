package android.os;

/** The members that the app uses, some of them newer than the oldest android.jar. */
public final class PowerManager {
    public int getCurrentThermalStatus() {
        throw new UnsupportedOperationException();
    }
}
