// Brings a guest's kernel and the root file system on its disks together: names of other hypervisors' disks
// become the one the guest's driver uses, a partitioned disk gets its root partition found, and a stock
// kernel whose disk driver is a module gets the initial RAM disk that has it. Called by the command line
// between settling options and running. Every decision that is not the obvious one is told in a line.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Lhype.Cli;
using Lhype.Images;
using Lhype.Machine;
using Lhype.Machine.Boot;

namespace Lhype.Disks;

/// <summary>Arranges root file systems.</summary>
internal sealed class RootArrangement
{
    private const string VirtioName = "/dev/vd";

    // lguest's disks before it had virtio, and lhype's of 2006.
    private const string LguestName = "/dev/lgb";
    private static readonly string[] Names = [VirtioName, LguestName, "/dev/lhb"];

    private readonly ImageStore _store;
    private readonly Action<string> _say;
    private KernelImage? _kernel;

    /// <summary>Makes it.</summary>
    /// <param name="store">Where pulled images are.</param>
    /// <param name="say">Is told what was decided, a sentence each time.</param>
    public RootArrangement(ImageStore store, Action<string> say)
    {
        _store = store;
        _say = say;
    }

    /// <summary><paramref name="config"/> with root device and initial RAM disks arranged. Throws
    /// LhypeException if the kernel cannot be read.</summary>
    public MachineConfig Arrange(MachineConfig config)
    {
        if (config.Disks.Count == 0)
        {
            return config;
        }

        List<DiskLayout?> layouts = [.. config.Disks.Select(disk => DiskLayout.Load(disk.File))];
        return WithDrivers(config.AutoCommandLine ? WithRoot(config, layouts) : config, layouts);
    }

    private MachineConfig WithRoot(MachineConfig config, List<DiskLayout?> layouts)
    {
        List<string> words = [.. KernelCommandLine.SplitWords(config.Append)];
        int end = words.IndexOf("--");
        int at = words.FindLastIndex(end < 0 ? words.Count - 1 : end,
            word => word.StartsWith("root=", StringComparison.Ordinal));
        string asked = at < 0 ? config.Root ?? "/dev/vda" : words[at]["root=".Length..];
        string own = HasVirtio(config) ? VirtioName : LguestName;
        string? used = Array.Find(Names, name => TryParse(asked, name, out _, out _));
        string root = used is null ? asked : own + asked[used.Length..];
        if (root != asked && at >= 0)
        {
            _say($"root={asked} is {root} here: the guest's own driver calls the disk so.");
        }

        bool isWhole = TryParse(root, own, out int disk, out string partition) && partition.Length == 0;
        root = isWhole ? PartitionOf(config, layouts, root, disk) : root;
        if (at < 0)
        {
            return config with { Root = root == "/dev/vda" ? null : root };
        }

        words[at] = "root=" + root;
        return config with { Append = root == asked ? config.Append : string.Join(' ', words) };
    }

    /// <summary>False for kernels made for lguest before it had virtio, which say so.</summary>
    private bool HasVirtio(MachineConfig config) =>
        IsImage(config) || !File.Exists(config.Kernel) || !Kernel(config).HasText("GenuineLguest");

    private KernelImage Kernel(MachineConfig config) =>
        _kernel ??= KernelImage.Load(config.Kernel, UnpackedKernelCache.ForUser());

    private bool IsImage(MachineConfig config) =>
        ImageCatalog.All.Any(image => _store.KernelPath(image) == config.Kernel);

    /// <summary>Splits <c>/dev/vda2</c> into the disk's number, from 0, and <c>2</c>.</summary>
    private static bool TryParse(string device, string name, out int disk, out string partition)
    {
        bool good = device.Length > name.Length && device.StartsWith(name, StringComparison.Ordinal)
            && char.IsAsciiLetterLower(device[name.Length]);
        disk = good ? device[name.Length] - 'a' : 0;
        partition = good ? device[(name.Length + 1)..] : "";
        return good && partition.All(char.IsAsciiDigit);
    }

    /// <summary>The partition of disk number <paramref name="disk"/> to take for the root instead of the
    /// whole disk; <paramref name="root"/> itself if it has no partitions, or none to choose.</summary>
    private string PartitionOf(MachineConfig config, List<DiskLayout?> layouts, string root, int disk)
    {
        if (disk >= layouts.Count || layouts[disk] is not { Partitions.Count: > 0 } layout)
        {
            return root;
        }

        string file = Path.GetFileName(config.Disks[disk].File);
        if (layout.Root is { } partition)
        {
            string device = $"{root}{partition.Number}";
            _say($"{file} is partitioned; its root is {device} ({Describe(partition)}).");
            return device;
        }

        List<string> candidates =
        [
            .. layout.Partitions.Where(part => part.FileSystem is not null)
                .Select(part => $"{root}{part.Number} ({Describe(part)})"),
        ];
        _say(candidates.Count == 0
            ? $"{file} is partitioned and no partition holds ext2, ext3, ext4, xfs or btrfs; say with root= "
                + "where the root is."
            : $"{file} has several partitions that the root may be on, {string.Join(", ", candidates)}; say "
                + "with root= which it is.");
        return root;
    }

    private static string Describe(Partition partition)
    {
        string label = partition.FileSystem!.Label;
        return partition.FileSystem.Type + (label.Length == 0 ? "" : $", labelled {label}");
    }

    private MachineConfig WithDrivers(MachineConfig config, List<DiskLayout?> layouts)
    {
        List<string> fileSystems = [.. layouts.SelectMany(FileSystemsOf).Distinct()];
        foreach (ImageDefinition image in ImageCatalog.All)
        {
            if (config.Initrds is [var only] && only == _store.InitrdPath(image))
            {
                return config with { Initrds = _store.Initrds(image, fileSystems) };
            }
        }

        if (config.Initrds.Count != 0 || !File.Exists(config.Kernel))
        {
            return config;
        }

        return WithDriversFor(Kernel(config), config, fileSystems);
    }

    private MachineConfig WithDriversFor(KernelImage kernel, MachineConfig config, List<string> fileSystems)
    {
        // A kernel that unpacks itself does not show what is in it.
        if (kernel.Kind is not (KernelKind.Linux or KernelKind.Pvh) || kernel.HasText("\0virtio_blk\0")
            || !HasVirtio(config))
        {
            return config;
        }

        string file = Path.GetFileName(config.Kernel);
        if (_store.WithKernel(File.ReadAllBytes(config.Kernel)) is { } image)
        {
            // Packages stay in the cache, so an image of an earlier version is made anew from them.
            ImagesCommand.Ensure(_store, image, quiet: config.Verbosity < 0);
            _say($"{file} is the kernel of {image.Name}; its drivers come along.");
            return config with { Initrds = _store.Initrds(image, fileSystems) };
        }

        string? modules = InstalledModules(config.Kernel, kernel.Release);
        string architecture = kernel.Bits == 64 ? "amd64" : "i386";
        if (modules is not null
            && _store.InitrdsOfInstalled(modules, architecture, fileSystems) is { } initrds)
        {
            _say($"{file} gets its drivers from {modules}.");
            return config with { Initrds = initrds };
        }

        _say(modules is not null
            ? $"{file} needs drivers from {modules} to find its disk, and the busybox to load them with "
                + $"comes with an image: run 'lhype images pull debian-{architecture}' once."
            : $"{file} has no driver for its disk built in (virtio_blk), and its modules are neither in a "
                + "pulled image nor in ../lib/modules beside it: give its initrd with --initrd, or pull its "
                + "image.");
        return config;
    }

    /// <summary>Where a package manager puts the modules of <paramref name="kernel"/>: lib/modules beside its
    /// directory boot. Null if they are not there.</summary>
    private static string? InstalledModules(string kernel, string release)
    {
        string? boot = Path.GetDirectoryName(Path.GetFullPath(kernel));
        bool usable = Path.GetFileName(boot) == "boot" && release.Length > 0 && release[0] != '.'
            && !release.Contains('/');
        string modules = usable ? Path.Combine(Path.GetDirectoryName(boot)!, "lib", "modules", release) : "";
        return usable && Directory.Exists(modules) ? modules : null;
    }

    private static IEnumerable<string> FileSystemsOf(DiskLayout? layout)
    {
        IEnumerable<FileSystem?> all =
            [layout?.FileSystem, .. layout?.Partitions.Select(partition => partition.FileSystem) ?? []];
        return all.Select(fileSystem => fileSystem?.Type ?? "").Where(Initramfs.ExtraFileSystems.Contains);
    }
}
