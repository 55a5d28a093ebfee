/* The one function of Android's ONNX Runtime that the Linux library lacks; nothing calls it. */
void *OrtSessionOptionsAppendExecutionProvider_Nnapi(void *options, unsigned flags)
{
    (void)options, (void)flags;
    return 0;
}
