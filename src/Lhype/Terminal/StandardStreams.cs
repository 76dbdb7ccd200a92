// Standard output and error without System.Console's writers: those switch the terminal's keypad into application mode
// when first used, by an escape sequence on standard output, which belongs to the guest.

using System.IO;
using System.Text;

namespace Lhype.Terminal;

/// <summary>Text writers over the process's standard streams, flushed at every write.</summary>
internal static class StandardStreams
{
    /// <summary>Standard output.</summary>
    internal static TextWriter Output { get; } = Writer(System.Console.OpenStandardOutput());

    /// <summary>Standard error.</summary>
    internal static TextWriter Error { get; } = Writer(System.Console.OpenStandardError());

    private static TextWriter Writer(Stream stream) =>
        TextWriter.Synchronized(new StreamWriter(stream, new UTF8Encoding(false)) { AutoFlush = true });
}
