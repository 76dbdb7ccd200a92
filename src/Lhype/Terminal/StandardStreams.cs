// Standard output and error as text, without System.Console's writers: those switch the terminal's keypad
// into application mode when first used, by an escape sequence on standard output, which belongs to the
// guest.

using System.IO;
using System.Text;
using Lhype.Host;

namespace Lhype.Terminal;

/// <summary>Text writers over the process's standard streams, flushed at every write.</summary>
internal static class StandardStreams
{
    /// <summary>Standard output.</summary>
    internal static TextWriter Output { get; } = Writer(1);

    /// <summary>Standard error.</summary>
    internal static TextWriter Error { get; } = Writer(2);

    // A descriptor that was closed when we started is now some file of our own, and must not be written.
    private static TextWriter Writer(int fd) =>
        InputPump.WasInherited(fd)
            ? TextWriter.Synchronized(
                new StreamWriter(new DescriptorStream(fd), new UTF8Encoding(false)) { AutoFlush = true })
            : TextWriter.Null;
}
