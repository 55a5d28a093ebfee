/* The one entry of Android's ONNX Runtime that this machine's has not; nothing here calls it. */
void *OrtSessionOptionsAppendExecutionProvider_Nnapi(void *options, unsigned flags)
{
    (void)options, (void)flags;
    return 0;
}
