// The guest images Lhype knows by name, and where the pulled ones are. Called by the command line (`lhype
// images`, and `lhype run` with an image name) and by ImageStore.

using System;
using System.Collections.Generic;

namespace Lhype.Images;

/// <summary>A guest image that can be pulled: a Debian kernel and a busybox initramfs for it.</summary>
/// <param name="Name">What the user calls it.</param>
/// <param name="KernelPackage">Debian's meta package, which depends on the newest kernel package.</param>
/// <param name="Architecture">Debian's name of the guest's architecture.</param>
/// <param name="Description">One line for <c>lhype images</c>.</param>
internal sealed record ImageDefinition(string Name, string KernelPackage, string Architecture,
    string Description)
{
    /// <summary>True for kernels that need 64-bit guest code.</summary>
    public bool Is64Bit => Architecture == "amd64";
}

/// <summary>All images by name.</summary>
internal static class ImageCatalog
{
    /// <summary>The image of a plain <c>lhype run</c>.</summary>
    public static ImageDefinition Default => All[0];

    /// <summary>The same for a CPU without long mode.</summary>
    public static ImageDefinition Default32 => All[2];

    /// <summary>Every image, the default first.</summary>
    public static IReadOnlyList<ImageDefinition> All { get; } =
    [
        new("debian-amd64", "linux-image-cloud-amd64", "amd64",
            "Debian 12 cloud kernel, 64-bit, busybox shell"),
        new("debian-amd64-generic", "linux-image-amd64", "amd64", "the same for physical machines"),
        new("debian-i386", "linux-image-686", "i386", "Debian 12 kernel for 32-bit PCs, busybox shell"),
        new("debian-i386-pae", "linux-image-686-pae", "i386", "the same with PAE paging and NX"),
    ];

    /// <summary>The image called <paramref name="name"/>, or null.</summary>
    public static ImageDefinition? Find(string name)
    {
        foreach (ImageDefinition image in All)
        {
            if (string.Equals(image.Name, name, StringComparison.Ordinal))
            {
                return image;
            }
        }

        return null;
    }
}
