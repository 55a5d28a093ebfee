package android.os;

/** The members that the app uses, some of them newer than the oldest android.jar. */
public class Build {
    public static final String HARDWARE = null;
    public static final String MANUFACTURER = null;
    public static final String MODEL = null;
    public static final String SOC_MANUFACTURER = null;
    public static final String SOC_MODEL = null;

    public static class VERSION {
        public static final String RELEASE = null;
        public static final int SDK_INT = Integer.parseInt("0");
    }

    public static class VERSION_CODES {
        public static final int Q = 29;
        public static final int S = 31;
    }
}
