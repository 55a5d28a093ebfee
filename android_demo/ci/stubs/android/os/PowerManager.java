package android.os;

/** What the app uses of a class that is newer in the phone than in the oldest android.jar. */
public final class PowerManager {
    public int getCurrentThermalStatus() {
        throw new UnsupportedOperationException();
    }
}
