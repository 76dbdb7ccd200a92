// Reads a file the user named, with one-sentence errors and a size limit. Called by KernelImage and Initrd.

using System;
using System.IO;
using Lhype.Host;

namespace Lhype.Machine.Boot;

/// <summary>Reading of kernels and RAM disks.</summary>
internal static class ImageFile
{
    /// <summary>All bytes of <paramref name="path"/>; <paramref name="what"/> names its role ("kernel").
    /// Throws LhypeException if it cannot be read or is larger than <paramref name="maxBytes"/>.</summary>
    public static byte[] ReadAll(string path, string what, long maxBytes)
    {
        try
        {
            using var file =
                new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            if (!file.CanSeek)
            {
                throw new LhypeException($"The {what} {path} is not a regular file.");
            }

            long length = file.Length;
            if (length > maxBytes)
            {
                throw new LhypeException(
                    $"The {what} {path} has {length >> 20} MiB; Lhype loads at most {maxBytes >> 20} MiB.");
            }

            var bytes = new byte[length];
            file.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new LhypeException($"There is no {what} {path}.", e);
        }
        catch (UnauthorizedAccessException e)
        {
            string reason = Directory.Exists(path) ? "it is a directory" : "permission denied";
            throw new LhypeException($"The {what} {path} cannot be read: {reason}.", e);
        }
        catch (Exception e) when (e is IOException or ArgumentException or NotSupportedException)
        {
            throw new LhypeException($"The {what} {path} cannot be read: {e.Message.TrimEnd('.')}.", e);
        }
    }
}
