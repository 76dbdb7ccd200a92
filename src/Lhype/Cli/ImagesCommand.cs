// `lhype images` and `lhype images pull NAME`: lists the known guest images and fetches one. Called by
// CommandLine.

using System.IO;
using System.Linq;
using Lhype.Cpu.Architecture;
using Lhype.Host;
using Lhype.Images;

namespace Lhype.Cli;

/// <summary>The commands about guest images.</summary>
internal static class ImagesCommand
{
    /// <summary>Prints one line per image: name, state, what it is.</summary>
    public static int List(ImageStore store, TextWriter output)
    {
        output.WriteLine($"{"NAME",-22}{"PULLED",-14}DESCRIPTION");
        foreach (ImageDefinition image in ImageCatalog.All)
        {
            string state = store.Facts(image)?.Version ?? "no";
            output.WriteLine($"{image.Name,-22}{state,-14}{image.Description}");
        }

        return 0;
    }

    /// <summary>Fetches the newest packages of the image called <paramref name="name"/>.</summary>
    public static int Pull(ImageStore store, string name)
    {
        ImageDefinition image = ImageCatalog.Find(name) ?? throw new UsageException(
            $"There is no image {OptionValues.Quote(name)}; there are "
            + $"{string.Join(", ", ImageCatalog.All.Select(known => known.Name))}.");
        PullProgress.Show(quiet: false, progress => store.Pull(image, progress));
        return 0;
    }

    /// <summary>Makes <paramref name="image"/> ready to run, showing progress when that takes work.</summary>
    public static void Ensure(ImageStore store, ImageDefinition image, bool quiet)
    {
        if (!store.IsReady(image))
        {
            PullProgress.Show(quiet, progress => store.Ensure(image, progress));
        }
    }

    /// <summary>Refuses <paramref name="image"/> before it is fetched if the CPU model called
    /// <paramref name="cpu"/> cannot run it.</summary>
    public static void RequireRunnable(ImageDefinition image, string cpu)
    {
        if (image.Is64Bit && !CpuModel.Find(cpu).HasLongMode)
        {
            throw new LhypeException($"{image.Name} is a 64-bit guest and the CPU model {cpu} runs 32-bit "
                + "guests only; try debian-i386.");
        }
    }
}
